#!/usr/bin/env bash
# Install the programs the book needs (gcc, binutils, QEMU, venv) where we may, else say exactly what to install.
set -u
declare -A package=([gcc]=gcc [ld]=binutils [qemu-system-i386]=qemu-system-x86 [grub-mkrescue]="grub-common grub-pc-bin" [xorriso]=xorriso [mformat]=mtools [wrk]=wrk [npm]=npm [chromium]="chromium fonts-dejavu-core")
missing=()
for tool in gcc ld qemu-system-i386 ${DEPS_EXTRA:-}; do
    [ "$tool" = window ] || command -v "$tool" >/dev/null || missing+=(${package[$tool]})
done
# gcc alone does not bring libc's headers, which the host twins' shim and pip's compiled packages use.
echo '#include <stdio.h>' | gcc -E - >/dev/null 2>&1 || missing+=(libc6-dev)
# The sanitizers' runtimes come with gcc's libraries; venv needs ensurepip.
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
[ -d /usr/lib/grub/i386-pc ] || [[ " ${DEPS_EXTRA:-} " != *grub* ]] || missing+=(grub-pc-bin)
# QEMU's windows are a package of their own.
[[ " ${DEPS_EXTRA:-} " != *window* ]] || qemu-system-i386 -display help 2>/dev/null | grep -qE '^(gtk|sdl)' || missing+=(qemu-system-gui)
[ ${#missing[@]} -eq 0 ] && exit 0
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | awk '!seen[$0]++')

install="apt-get install -y --no-install-recommends ${missing[*]}"
if command -v apt-get >/dev/null; then
    if [ "$(id -u)" = 0 ]; then sudo=; elif sudo -n true 2>/dev/null; then sudo="sudo -n"; else sudo=none; fi
    if [ "$sudo" != none ]; then
        echo "installing: ${missing[*]}"
        quiet="env DEBIAN_FRONTEND=noninteractive"             # inside sudo, which does not pass the environment on
        $sudo $quiet apt-get update -qq >/dev/null && $sudo $quiet $install -qq >/dev/null && exit 0
        echo "tools.sh: apt-get failed; try by hand: ${sudo:+sudo }$install" >&2
        exit 1
    fi
fi
echo "Missing programs. On Debian or Ubuntu: sudo $install" >&2
exit 1
