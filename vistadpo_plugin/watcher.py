"""A finder that waits for named modules and calls a function with each when its import is finished.

Loaded at the start of every interpreter, so standard library only, and nothing of it that is not loaded by then anyway.
It knows neither the host nor our patches: `watch` is told both.
"""

import sys


class _CallAfterImport:
    """A loader that lets the real loader do its work and then calls `act` on the finished module."""

    def __init__(self, loader, act):
        self._loader, self._act = loader, act

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        # From here on the module looks as if we had never been here (inspect.getsource, pickling, reload).
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._act(module)

    def __getattr__(self, name):
        # What else a loader is asked for before it has run (`python -m` wants get_code).
        return getattr(self._loader, name)


class _HostWatcher:
    """A finder that finds nothing of its own: it wraps the loaders of the modules it is told to watch."""

    def __init__(self, names, act):
        self._names, self._act = frozenset(names), act

    def find_spec(self, name, path=None, target=None):
        if name not in self._names:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                spec.loader = _CallAfterImport(spec.loader, self._act)
                return spec
        return None


def watch(names, act):
    """Call `act(module)` after every import or reload of a module in `names`. Whoever watches first stays."""
    if not any(isinstance(finder, _HostWatcher) for finder in sys.meta_path):
        sys.meta_path.insert(0, _HostWatcher(names, act))
