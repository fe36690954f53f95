"""Start-up hook: makes `llamafactory-cli` understand `stage: vistadpo` in every interpreter, torchrun's and Ray's too.

The wheel ships `vistadpo_plugin.pth` (one plain import of this module) and `vistadpo_plugin.start` (the same for
Python 3.15, PEP 829), so this module is imported at the start of *every* interpreter of the environment. It therefore
uses the standard library only, and nothing of it that is not loaded by then anyway, and does no more than put one
finder on `sys.meta_path`. The finder acts when a host module named in `HOST_MODULES` is imported, and only then
imports `vistadpo_plugin.host`.

`VISTADPO_AUTOLOAD=0` switches this off; `import vistadpo_plugin.host` by hand then does the same work.
"""

import os
import sys

# The host modules that `vistadpo_plugin.host` has something to say to, one function each.
HOST_MODULES = frozenset(
    {
        "llamafactory.hparams.parser",
        "llamafactory.data.converter",
        "llamafactory.data.template",
        "llamafactory.data.loader",
        "llamafactory.model.loader",
        "llamafactory.model.model_utils.visual",
        "llamafactory.train.tuner",
        "llamafactory.chat.chat_model",
        "llamafactory.chat.hf_engine",
        "llamafactory.api.app",
    }
)


class _PatchAfterImport:
    """A loader that lets the real loader do its work and then calls `host.patch` on the finished module."""

    def __init__(self, loader):
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        # From here on the module looks as if we had never been here (inspect.getsource, pickling, reload).
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        from vistadpo_plugin import host

        module.__dict__.pop(host.PATCHED, None)  # a reload runs the module's code again, into the same namespace
        host.patch(module)

    def __getattr__(self, name):
        # What else a loader is asked for before it has run (`python -m` wants get_code).
        return getattr(self._loader, name)


class _HostWatcher:
    """A finder that finds nothing of its own: it wraps the loader of the host modules we patch."""

    def find_spec(self, name, path=None, target=None):
        if name not in HOST_MODULES:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                spec.loader = _PatchAfterImport(spec.loader)
                return spec
        return None


def watch():
    """Put the finder on `sys.meta_path`, once."""
    if not any(isinstance(finder, _HostWatcher) for finder in sys.meta_path):
        sys.meta_path.insert(0, _HostWatcher())


def install():
    """What the `.pth` and `.start` files ask for: watch for the host unless `VISTADPO_AUTOLOAD=0`."""
    if os.environ.get("VISTADPO_AUTOLOAD", "1") != "0":
        watch()


install()
