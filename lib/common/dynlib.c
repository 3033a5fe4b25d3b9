#include "lib/common/dynlib.h"

#include <dlfcn.h>
#include <string.h>

ErrCode dynlib_load(const char *soname, const char *package, const DynSym *syms, size_t n, Err *err)
{
    /* Never closed: libcurl and OpenSSL keep thread-local state. */
    void *lib = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
    if (!lib) {
        err_set(err, ERR_CONFIG, "cannot load %s: %s", soname, dlerror());
        return err_hint(err, "install the package %s", package);
    }
    for (size_t i = 0; i < n; i++) {
        void *fn = dlsym(lib, syms[i].name);
        if (!fn)
            return err_set(err, ERR_CONFIG, "%s has no function %s", soname, syms[i].name);
        memcpy(syms[i].slot, &fn, sizeof(fn));
    }
    return ERR_OK;
}
