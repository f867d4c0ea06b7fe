#!/bin/sh
# Makes the secrets that docker-compose.yml mounts as files: random, into the folder named (default: deploy/secrets).
# What is there already stays as it is. The folder is closed to others; the files in it must be readable inside the
# containers, whose account is not yours.
set -eu
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
chmod 700 "$folder"

random() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n'; }

keep() {
  [ -e "$folder/$1" ] && return
  printf '%s' "$2" >"$folder/$1"
  chmod 444 "$folder/$1"
}

keep postgres_password "$(random | tr -d '=')"
keep tocsin_database_url "postgresql+psycopg://tocsin:$(cat "$folder/postgres_password")@postgres:5432/tocsin"
keep tocsin_secret_key "$(random)"
keep tocsin_api_key "$(random | tr -d '=')"
echo "secrets are in $folder"
