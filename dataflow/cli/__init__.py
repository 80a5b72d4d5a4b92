"""``dataflowctl``, one module a noun or a group of verbs.

``main`` names the commands and loads the module of the one that is called; a module loads gRPC
and rich when its command runs. So ``--help`` and completion stay quick.
"""
