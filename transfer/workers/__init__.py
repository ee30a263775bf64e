"""Where work is done: by threads, in this process, or by the workers of a Dask cluster.

In: a function and the items that it is called with. Out: what it returned for each, in order, and the same bytes on
disk wherever the work was done. Begin with `work`, which says what a runner promises.
"""
