#!/usr/bin/env bash
# A Ray cluster of machines of your own, with a token. On each of them seti-tune is installed in the same version and
# its environment is active, and all see the run folder and the data set under the same path.
#
#   hosts.sh head          on the first machine
#   hosts.sh join HEAD     on every other one, HEAD as the first one said
#   hosts.sh leave         on each, at the end: ends all of Ray there
#
# The token is made on the first machine, in ~/.ray/auth_token. Where homes are not shared, copy that file to the others,
# and to the laptop from which you submit. More options of `ray start` may follow. A machine in several networks says
# with NODE_IP=10.0.0.1 in which one the others are.
set -euo pipefail

export RAY_AUTH_MODE=token # before nodes may join a head that has one
here=(${NODE_IP:+--node-ip-address="$NODE_IP"})
token=$HOME/.ray/auth_token

case ${1:-} in
head)
    [ -s "$token" ] || ray get-auth-token --generate >/dev/null
    chmod 600 "$token"
    # Without --dashboard-host jobs are taken from this machine alone: then `ssh -L 8265:localhost:8265 HEAD`.
    ray start --head --port=6379 --dashboard-host=0.0.0.0 ${here[@]+"${here[@]}"} "${@:2}"
    ;;
join)
    [ -s "$token" ] || { echo "$token is missing: copy it from the first machine" >&2; exit 2; }
    ray start --address="${2:?HEAD is missing: the address of the first machine}:6379" ${here[@]+"${here[@]}"} "${@:3}"
    ;;
leave)
    ray stop
    ;;
*)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
    exit 2
    ;;
esac
