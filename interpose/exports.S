// The exported names: each jumps through its slot, which holds our body or, with PFIBER_OFF=1 and in
// processes that stay native, libc's own function.  Expanded from the ledger.
#define HOOK(symbol, class, redirect, note) EXPORT symbol, pf_##symbol
#define PRIVATE_HOOK(symbol, class, redirect, note) EXPORT symbol, pf_##symbol
#define ALIAS(symbol, target, redirect, note) EXPORT symbol, pf_##target

.macro EXPORT symbol, body
    .section .data.rel.slots, "aw", @progbits
    .hidden \body
    .balign 8
pfiber_slot_\symbol:
    .quad   \body
    .text
    .globl  \symbol
    .type   \symbol, @function
    .balign 16
\symbol:
    jmp     *pfiber_slot_\symbol(%rip)
    .size   \symbol, .-\symbol
.endm

    .section .data.rel.slots, "aw", @progbits
    .globl  pfiber_slots
    .hidden pfiber_slots
    .balign 8
pfiber_slots:
#include "interpose/hooks.def"
    .section .note.GNU-stack,"",@progbits
