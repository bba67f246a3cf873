/* The file with the images, in flash. */
    .section .rodata.digits, "a"
    .global digits
digits:
    .incbin "digits.bin"
