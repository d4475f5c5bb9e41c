#!/usr/bin/env bash
# Ask through the gateway, and say that the answer was right.
set -euo pipefail
gateway="${MODELCACHE_GATEWAY:-http://127.0.0.1:5000/v1}"
request='{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "How do I reset my password?"}]}'

curl -s -D headers.txt "$gateway/chat/completions" \
  -H "Authorization: Bearer $OPENAI_API_KEY" -H 'Content-Type: application/json' -d "$request"
grep -i '^x-modelcache' headers.txt

entry="$(sed -n 's/^x-modelcache-entry-id: \([0-9]*\).*/\1/Ip' headers.txt)"
curl -s "$gateway/feedback" -H "Authorization: Bearer $OPENAI_API_KEY" \
  -H 'Content-Type: application/json' -d "{\"entry_id\": $entry, \"correct\": true, \"request\": $request}"
