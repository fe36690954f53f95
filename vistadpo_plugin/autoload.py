"""Start-up hook: makes `llamafactory-cli` understand `stage: vistadpo` in every interpreter, torchrun's and Ray's too.

The wheel ships `vistadpo_plugin.pth` (one plain import of this module) and `vistadpo_plugin.start` (the same for
Python 3.15, PEP 829), so this module is imported at the start of *every* interpreter of the environment. It therefore
uses the standard library and `watcher` only, and does no more than put one finder on `sys.meta_path`. The finder acts
when a host module named in `HOST_MODULES` is imported, and only then imports `vistadpo_plugin.host`.

`VISTADPO_AUTOLOAD=0` switches this off; `import vistadpo_plugin.host` by hand then does the same work.
"""

import os

from vistadpo_plugin.watcher import watch

# The keys of `host.PATCHES`, which cannot be asked before the host is there; tests/test_host_seams.py holds them equal.
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


def _patch(module):
    """Wakes the plugin, which takes seconds, when there is something to patch."""
    from vistadpo_plugin import host

    host.patch_again(module)


def install():
    """What the `.pth` and `.start` files ask for: watch for the host unless `VISTADPO_AUTOLOAD=0`."""
    if os.environ.get("VISTADPO_AUTOLOAD", "1") != "0":
        watch(HOST_MODULES, _patch)


install()
