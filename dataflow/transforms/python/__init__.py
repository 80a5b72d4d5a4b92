"""A function of the user's own over batches, in a process of its own.

``step`` decides what becomes of a batch; ``process``, begun by ``spawning``, is asked and ended;
``shared`` carries batches, ``said`` what the function prints. In the process itself ``program``
keeps and ``working`` works.
"""
