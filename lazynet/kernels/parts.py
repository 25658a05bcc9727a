"""Functions that are linked into those who call them: no machine code is made of them alone.

numba optimizes every function that it compiles and makes machine code of it, and then does so once
more with each function that it is linked into. Of what nobody calls by itself the first is for
nothing; it took a twelfth of a first run.
"""

from llvmlite import binding, ir
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder

_ENVIRONMENT = "_ZN08NumbaEnv"  # how numba's names of environments begin


class _Linked(JITCodeLibrary):
    """The code of a function as callers link it, before it is optimized together with theirs."""

    def _optimize_final_module(self):
        pass

    def _finalize_final_module(self):
        """Make room for the function's environment, which numba fills in by name, and no code."""
        self._finalize_dynamic_globals()
        module, pointer = self._codegen._create_empty_module("room"), ir.IntType(8).as_pointer()
        for name in [each.name for each in self._final_module.global_variables]:
            if name.startswith(_ENVIRONMENT):
                room = ir.GlobalVariable(module, pointer, name)
                room.linkage, room.initializer = "common", ir.Constant(pointer, None)
        self._codegen._add_module(binding.parse_assembly(str(module)))
        self._codegen._engine.finalize_object()
        self._finalized = True


class LinkedCompiler(CompilerBase):
    """numba's compiler, for functions of this kind."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        library = _Linked(self.state.targetctx.codegen(), "linked")
        library.enable_object_caching()
        self.state.library = library

    def define_pipelines(self):
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]
