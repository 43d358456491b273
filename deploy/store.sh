#!/bin/sh
# One S3-compatible node with one bucket and one key.
set -eu
cat >/tmp/s3.json <<JSON
{"identities": [{"name": "jiejing", "credentials": [{"accessKey": "$S3_KEY", "secretKey": "$S3_SECRET"}],
  "actions": ["Read:jiejing", "Write:jiejing", "List:jiejing"]}]}
JSON
(
  until wget -q -O /dev/null http://127.0.0.1:8888/; do sleep 1; done
  echo "s3.bucket.create -name jiejing" | weed shell
) &
exec weed server -dir=/data -ip.bind=0.0.0.0 -filer -s3 -s3.config=/tmp/s3.json
