#!/bin/sh
# The kernels compiled into the image lie on a root that may be read-only, and numba wants a cache it can write: they
# are copied into memory. Without room for them kobe works all the same and compiles what it needs.
set -eu
if [ ! -d "$NUMBA_CACHE_DIR" ]; then
    cp -R /opt/kobe/numba "$NUMBA_CACHE_DIR" || echo "kobe: no room for the compiled kernels in $NUMBA_CACHE_DIR" >&2
fi
# What kobe makes in its home is its owner's alone.
umask 077
# exec: kobe becomes process 1 and hears SIGTERM itself.
exec kobe "$@"
