# What ./check and ./quickstart have in common: the machine's packages, a copy of the source to build
# in, and the end. Read by sh; $source is the checkout, $work a temporary folder.
# shellcheck shell=sh disable=SC2154

# What is missing of these groups in conf/debian-packages.
missing_packages()
{
    for group in "$@"; do
        sed -n "s/^$group //p" "$source/conf/debian-packages"
    done | while read -r package; do
        case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
            *' installed') ;;
            *) echo "$package" ;;
        esac
    done | tr '\n' ' '
}

# Installs what is missing of these groups, or says exactly what to type and fails.
install_packages()
{
    command -v dpkg-query >/dev/null || {
        echo "This is no Debian system: what is needed is listed in conf/debian-packages."
        return 0
    }
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    line="apt-get install -y --no-install-recommends $missing"
    if [ "$(id -u)" = 0 ]; then
        sudo=
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo='sudo -n'
    else
        echo "These packages are missing; as root:" >&2
        echo "    apt-get update && $line" >&2
        return 1
    fi
    echo "\$ $line"
    # shellcheck disable=SC2086
    if ! { $sudo apt-get -qq update && $sudo env DEBIAN_FRONTEND=noninteractive $line -qq; } \
        </dev/null >"$work/apt.log" 2>&1; then
        cat "$work/apt.log" >&2
        echo "The packages could not be installed." >&2
        return 1
    fi
}

# Copies the checkout, as edited but without what was built in it, to $1: so that the checkout may be
# read-only, configured in place, or someone else's.
copy_source()
{
    mkdir -p "$1"
    if [ -e "$source/.git" ] && command -v git >/dev/null; then
        # safe.directory: root may well look at another user's checkout.
        (cd "$source" && git -c safe.directory='*' ls-files -z -co --exclude-standard) |
            (cd "$source" && xargs -0 sh -c 'for f; do [ ! -e "$f" ] || printf "%s\0" "$f"; done' sh) |
            tar -C "$source" --no-recursion --null -T - -cf - | tar -C "$1" --no-same-owner -xf -
    else
        tar -C "$source" --exclude=./build --exclude='*.o' --exclude='*.a' --exclude=./config.status -cf - . |
            tar -C "$1" --no-same-owner -xf -
    fi
    [ -e "$1/configure.ac" ]
}

# A shell hears a signal only between two programs, or in wait: what takes long is run like this, with
# the trap "interrupted".
child=
interruptible()
{
    "$@" &
    child=$!
    wait "$child"
}

interrupted()
{
    [ -z "$child" ] || kill -TERM "$child" 2>/dev/null
    exit 130
}

processors()
{
    nproc 2>/dev/null || echo 1
}

# Removes $work and ends what still runs in it.
remove_work()
{
    cd /
    for proc in /proc/[0-9]*; do
        case $(readlink "$proc/cwd" 2>/dev/null)/ in
            "$work"/*) kill -9 "${proc#/proc/}" 2>/dev/null ;;
        esac
    done
    rm -rf "$work" || { sleep 1; rm -rf "$work"; }
}
