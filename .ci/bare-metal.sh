# shellcheck shell=bash
# Chooses a compiler for the bare-metal targets. A bash script sources this file and calls `choose_bare_metal_compiler`.
#
# firmware-example/check chooses in the same way:
#   1. the active toolchain, if the core library of every target is installed;
#   2. the active toolchain, after rustup has installed them;
#   3. the distribution's compiler, which comes with the source of the core library and builds it.

bare_metal_targets=(thumbv7em-none-eabihf thumbv6m-none-eabi riscv32imc-unknown-none-elf)

# install_packages PACKAGE...: Debian packages, for root. The list of packages is updated first, because the list of a
# fresh machine is empty or has versions that the server no longer has.
install_packages() {
    if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
        echo "missing, and this user cannot install packages: $*" >&2
        return 1
    fi
    apt-get update >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >/dev/null 2>&1 || {
        echo "apt-get could not install: $*" >&2
        return 1
    }
}

has_core_library() {
    local target
    for target in "${bare_metal_targets[@]}"; do
        compgen -G "$(rustc --print target-libdir --target "$target" 2>/dev/null)/libcore-*.rlib" >/dev/null || return 1
    done
}

# Sets three variables: `bare_metal_cargo` is the command, `bare_metal_options` are options of each build, and
# `bare_metal_toolchain` is a description.
choose_bare_metal_compiler() {
    bare_metal_cargo=(cargo)
    bare_metal_options=()
    if has_core_library; then
        bare_metal_toolchain="the active toolchain"
    elif command -v rustup >/dev/null && timeout 120 rustup target add "${bare_metal_targets[@]}" >/dev/null 2>&1 &&
        has_core_library; then
        bare_metal_toolchain="the active toolchain, with targets that rustup installed"
    else
        if ! [ -d /usr/lib/rustlib/src/rust/library/core ] || ! [ -x /usr/bin/cargo ] || ! command -v ld.lld >/dev/null
        then
            install_packages rustc-web cargo-web rust-web-src lld
        fi
        bare_metal_toolchain="the distribution's compiler, which builds the core library"
        # Building the core library is an unstable option of cargo, hence RUSTC_BOOTSTRAP.
        bare_metal_cargo=(env RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc
            CARGO_TARGET_THUMBV7EM_NONE_EABIHF_LINKER=ld.lld CARGO_TARGET_THUMBV6M_NONE_EABI_LINKER=ld.lld
            CARGO_TARGET_RISCV32IMC_UNKNOWN_NONE_ELF_LINKER=ld.lld /usr/bin/cargo)
        # The same settings as in firmware-example/check, so that both share the built core library.
        # shellcheck disable=SC2034,SC2054 # Used by the caller; the comma belongs to the option.
        bare_metal_options=(-Zbuild-std=core,panic_abort --config 'profile.firmware.package.core.opt-level=3'
            --config 'profile.firmware.package.compiler_builtins.opt-level=3')
    fi
    bare_metal_toolchain+=" ($("${bare_metal_cargo[@]}" -V))"
}
