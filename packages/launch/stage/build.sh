#!/bin/sh
# Builds the stage for one architecture: build.sh <compiler> <output>. The bytes in src/generated/stage.ts come from
# here (scripts/embed-stage.mjs), and a test builds them again and compares.
set -eu
directory=$(dirname "$0")
"$1" -std=c11 -Os -mgeneral-regs-only -Wall -Wextra -Werror -ffreestanding -fno-builtin -fno-stack-protector -fno-pic -fno-pie -fno-asynchronous-unwind-tables -fno-ident -fcf-protection=none \
  -nostdlib -static -no-pie -Wl,--build-id=none -Wl,-z,noseparate-code -Wl,-z,max-page-size=4096 -Wl,-z,noexecstack -Wl,-Ttext-segment=0x400000 -Wl,-s \
  -o "$2" "$directory/stage.c"
