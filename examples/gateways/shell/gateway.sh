#!/bin/sh
# A gateway for Duragent in POSIX shell, with jq: a chat of folders and files.
#
# A person says something by putting a file into inbox/<chat>/ (written under a name that begins
# with a dot, then renamed). What the bot posts is a file in outbox/<chat>/: 1.txt, 2.txt, ...
# A chat is a folder in inbox/. Config: dir (where inbox/ and outbox/ are), max_length.
set -u

dir='' watcher='' max=4000
# The files that were passed on by this run, and the lock of stdout: gone with this run.
run=$(mktemp -d) || exit 1

# Writes one event, a line of JSON. Two processes write: long lines would mix without a lock.
say() {
  until mkdir "$run/lock" 2>/dev/null; do sleep 1; done
  printf '%s\n' "$1"
  rmdir "$run/lock"
}

# Reads a line into $command (its JSON), $kind, $request (JSON), $chat and $id. What is too long or
# no JSON object leaves $kind empty. jq quotes each value, so that eval only assigns.
parse() {
  kind=''
  eval "$(printf '%s' "$1" | jq -Rr '
    def text: strings // ""; select(length <= 1048576) | fromjson? | objects |
    @sh "command=\(tojson) kind=\(.type | text) request=\(.request_id | tojson)",
    @sh "chat=\(.chat_id | text) id=\(.message_id | text)"')"
}

answer() {
  [ "$request" = null ] || say "{\"type\":\"$1\",\"request_id\":$request${2:-}}"
}

refuse() {
  answer command_error ",\"code\":\"$1\",\"message\":\"$2\""
}

# Watches inbox/ in a process of its own, until process $1 is over or gone. A file is first moved to
# taken/ under a name that no other ever has: its event_id. It is removed when it was acked, and
# what is found there at the start was said before and not acked: it is passed on again.
watch() {
  count=0
  while [ ! -e "$run/over" ] && kill -0 "$1" 2>/dev/null; do
    for file in "$dir"/inbox/*/*; do
      [ -f "$file" ] && [ ! -h "$file" ] || continue
      count=$((count + 1))
      chat=$(basename "$(dirname "$file")")
      if [ "$(wc -c <"$file")" -gt 100000 ]; then
        mv "$file" "$dir/inbox/$chat/.longer-than-100000-bytes-$count" && continue
      fi
      mkdir -p "$dir/taken/$chat" && mv "$file" "$dir/taken/$chat/$(date +%s)-$1-$count"
    done
    for file in "$dir"/taken/*/*; do
      id=$(basename "$file")
      [ -f "$file" ] && [ ! -e "$run/sent-$id" ] || continue
      : >"$run/sent-$id"
      say "$(jq -Rsc --arg id "$id" --arg chat "$(basename "$(dirname "$file")")" '{
          type: "message_received", event_id: $id, message_id: $id, chat_id: $chat,
          sender: {id: $chat}, content: {text: .}, timestamp: (now | todate),
          routing: {channel: "files", chat_type: "dm", chat_id: $chat, sender_id: $chat}
        }' "$file")"
    done
    sleep 1 >/dev/null 2>&1
  done
}

configure() {
  eval "$(printf '%s' "$command" |
    jq -r '.config | @sh "dir=\(.dir // "." | tostring) max=\(.max_length // 4000 | tostring)"')"
  mkdir -p "$dir/inbox" "$dir/outbox" "$dir/taken" || {
    say '{"type":"error","code":"invalid_config","message":"config.dir cannot be made","fatal":true}'
    exit 1
  }
  say "$(jq -nc --argjson max "$max" '{
    type: "ready", gateway: "files", version: "1", protocol: "v1",
    capabilities: ["ack", "edit", "delete"], limits: {max_length: $max, length_unit: "chars"}
  }')"
  watch $$ </dev/null &
  watcher=$!
}

# Removes what is durable now.
ack() {
  printf '%s' "$command" | jq -r '.event_ids[] | select(test("^[0-9-]+$"))' |
    while read -r event; do rm -f "$dir"/taken/*/"$event"; done
}

# Whether a post can be done: otherwise it was refused.
check() {
  fault=$(printf '%s' "$command" | jq -r --argjson max "$max" '
    def text($name): .[$name] | type == "string" and . != "";
    def writes: .type != "delete_message";
    if text("chat_id") | not then "invalid_request"
    elif (.chat_id | test("^\\.|/|\\n")) then "chat_not_found"
    elif .type != "send_message" and (text("message_id") | not) then "invalid_request"
    elif writes and (.content | type != "string") then "invalid_request"
    elif writes and (.format // "text" | IN("text", "markdown") | not) then "invalid_request"
    elif writes and (.content | length) > $max then "too_long"
    elif .type != "send_message" and (.message_id | test("^[0-9]+$") | not) then "message_not_found"
    else "" end')
  if [ -z "$fault" ] && [ ! -d "$dir/inbox/$chat" ]; then fault=chat_not_found; fi
  if [ -z "$fault" ] && [ "$kind" != send_message ] && [ ! -f "$dir/outbox/$chat/$id.txt" ]; then
    fault=message_not_found
  fi
  [ -z "$fault" ] && return
  refuse "$fault" "see chat_id, message_id, format and content: at most $max characters"
  return 1
}

# Puts the text into its file: whole or not at all.
write() {
  printf '%s' "$command" | jq -j '.content' >"$dir/outbox/$chat/.new" &&
    mv "$dir/outbox/$chat/.new" "$dir/outbox/$chat/$id.txt"
}

# The next id; also of those that were deleted, none comes again.
next_id() {
  mkdir -p "$dir/outbox/$chat" && id=0
  if [ -f "$dir/outbox/$chat/.last" ]; then read -r id <"$dir/outbox/$chat/.last"; fi
  id=$((id + 1))
  echo "$id" >"$dir/outbox/$chat/.last"
}

post() {
  check || return
  case $kind in
  send_message) next_id && write ;;
  edit_message) write ;;
  delete_message) rm "$dir/outbox/$chat/$id.txt" ;;
  esac && answer command_ok ",\"message_id\":\"$id\"" ||
    refuse platform_error 'the file could not be written'
}

trap 'kill "$watcher" 2>/dev/null; rm -rf "$run"' EXIT
trap 'exit 1' HUP INT PIPE TERM
while IFS= read -r line; do
  parse "$line"
  case $kind in
  configure) configure ;;
  ack) ack ;;
  ping) answer pong ;;
  shutdown) break ;;
  send_message | edit_message | delete_message) post ;;
  send_media | find_message | answer_callback_query) refuse invalid_request 'not here' ;;
  esac
done
# Nothing may come after the last line.
: >"$run/over" && [ -z "$watcher" ] || wait "$watcher"
say '{"type":"shutdown","reason":"asked"}'
