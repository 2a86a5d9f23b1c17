"""The command line: arguments, progress and exit codes. Everything else lives below.

Commands import what they need inside their functions, so that ``burnish --help`` does not wait
for torch; this is the one package where that is done.
"""
