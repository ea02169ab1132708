# The end of a server whose test process went away without a word. Started beside each server as
#   sh -c "$(this file)" purlin-watchdog FOLDER SIGNAL
# with a pipe from the test process on standard input, which closes when that process ends, however it ends.
read -r _word && exit 0 # The handle was dropped in good order and has seen to everything itself.

pid=$(cat "$1/pid" 2>/dev/null)
if [ -n "$pid" ]; then
    # Stopped children would never notice that their server is gone.
    for stat in /proc/[0-9]*/stat; do
        read -r child _name _state parent _rest 2>/dev/null <"$stat" && [ "$parent" = "$pid" ] && kill -CONT "$child"
    done
    kill -CONT "$pid"
    kill -s "$2" "$pid"
    looks=0
    while kill -0 "$pid" && [ "$looks" -lt 50 ]; do
        sleep 0.1
        looks=$((looks + 1))
    done
    kill -KILL "$pid"
fi 2>/dev/null
rm -rf -- "$1"
