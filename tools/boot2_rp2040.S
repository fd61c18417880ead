/* The second stage of the RP2040's boot loader: plain serial reads (command 03h, which every SPI
 * flash knows), at a quarter of the core clock, then on to the vector table behind this block.
 * The boot ROM copies it to RAM and calls it with the flash interface switched to commands
 * (RP2040 Datasheet, boot sequence). Registers of the SSI and the values for command 03h: pico-sdk,
 * boot_stage2/boot2_generic_03h.S. */
    .syntax unified
    .cpu cortex-m0plus
    .thumb
    .text

    .equ SSI_BASE, 0x18000000
    .equ CTRLR0, 0x00
    .equ CTRLR1, 0x04
    .equ SSIENR, 0x08
    .equ SER, 0x10
    .equ BAUDR, 0x14
    .equ SPI_CTRLR0, 0xf4
    .equ VTOR, 0xe000ed08
    .equ VECTORS, 0x10000100

    ldr r3, =SSI_BASE
    movs r0, #0
    str r0, [r3, #SSIENR]       /* off while it is set up */
    movs r1, #4
    str r1, [r3, #BAUDR]
    movs r1, #1
    str r1, [r3, #SER]
    ldr r1, =0x001f0300         /* frames of 32 bits; send command and address, then receive */
    str r1, [r3, #CTRLR0]
    str r0, [r3, #CTRLR1]       /* one frame a read */
    ldr r1, =0x03000218         /* command 03h of 8 bits, address of 24 bits, no wait cycles */
    movs r2, #SPI_CTRLR0
    str r1, [r3, r2]
    movs r1, #1
    str r1, [r3, #SSIENR]

    ldr r0, =VECTORS
    ldr r1, =VTOR
    str r0, [r1]
    ldmia r0!, {r1, r2}         /* initial stack pointer, reset handler */
    msr msp, r1
    bx r2

    .pool
