"""Where weights are published, how they are found and read, and the proof that they are the ones in use.

Importing this package also keeps TerraTorch, which is imported after it, from running code of the working folder:
TerraTorch imports a folder named `custom_modules` there, and that folder may be someone else's. Commands take it by
`--custom_modules_path`.
"""

import sys
import types

_SEARCH = "terratorch.registry.custom_registry"  # TerraTorch's module that does nothing else
sys.modules.setdefault(_SEARCH, types.ModuleType(_SEARCH))
