.syntax unified
.thumb
movs r0,#1
 .inst.n 0xde00
