// Are all registers preserved across probes at the entry and the return of `probed`? registers CALLS, protocol of loop.c.
// Prints "probed N" and "wrong N", then "done". Flags are dead at both places by the ABI; the direction flag is not.
	.intel_syntax noprefix
	.text
	.globl probed
	.type probed, @function
	.balign 16
probed:                                 // stores what arrives, then makes a new pattern
	mov [rip + seen + 0], rax
	mov [rip + seen + 8], rbx
	mov [rip + seen + 16], rcx
	mov [rip + seen + 24], rdx
	mov [rip + seen + 32], rsi
	mov [rip + seen + 40], rdi
	mov [rip + seen + 48], rbp
	mov [rip + seen + 56], r8
	mov [rip + seen + 64], r9
	mov [rip + seen + 72], r10
	mov [rip + seen + 80], r11
	mov [rip + seen + 88], r12
	mov [rip + seen + 96], r13
	mov [rip + seen + 104], r14
	mov [rip + seen + 112], r15
	mov [rip + seen + 120], rsp
	fxsave64 [rip + area]
	mov rax, 0x1111111111111111
	lea rcx, [rax + rax]
	lea rdx, [rcx + rax]
	lea rsi, [rdx + rax]
	lea rdi, [rsi + rax]
	lea r8, [rdi + rax]
	lea r9, [r8 + rax]
	lea r10, [r9 + rax]
	lea r11, [r10 + rax]
	ret
	.size probed, . - probed
	.balign 16

	.globl main
	.type main, @function
main:
	push rbx
	push rbp
	push r12
	push r13
	push r14
	push r15
	sub rsp, 8
	mov rbx, rsi
	mov qword ptr [rip + total], 1000
	cmp edi, 2
	jl 1f
	mov rdi, [rbx + 8]
	xor esi, esi
	xor edx, edx
	call strtoul@PLT
	mov [rip + total], rax
1:	lea rdi, [rip + ready]
	call puts@PLT
	xor edi, edi
	call fflush@PLT
	call getchar@PLT
	mov rax, [rip + total]
	mov [rip + left], rax
2:	call once
	dec qword ptr [rip + left]
	jnz 2b
	lea rdi, [rip + report]
	mov rsi, [rip + total]
	mov rdx, [rip + wrong]
	xor eax, eax
	call printf@PLT
	xor edi, edi
	call fflush@PLT
	call getchar@PLT
	xor eax, eax
	cmp qword ptr [rip + wrong], 0
	setne al
	add rsp, 8
	pop r15
	pop r14
	pop r13
	pop r12
	pop rbp
	pop rbx
	ret

	.macro expect place, value
	mov rax, \value
	cmp [rip + \place], rax
	jne 9f
	.endm

once:
	push rbx
	push rbp
	push r12
	push r13
	push r14
	push r15
	sub rsp, 8
	mov [rip + stack], rsp
	movdqu xmm0, [rip + vectors]
	movdqu xmm7, [rip + vectors + 16]
	movdqu xmm15, [rip + vectors + 32]
	fldpi
	mov rax, 0x0a0a0a0a0a0a0a01
	mov rbx, 0x0a0a0a0a0a0a0a02
	mov rcx, 0x0a0a0a0a0a0a0a03
	mov rdx, 0x0a0a0a0a0a0a0a04
	mov rsi, 0x0a0a0a0a0a0a0a05
	mov rdi, 0x0a0a0a0a0a0a0a06
	mov rbp, 0x0a0a0a0a0a0a0a07
	mov r8, 0x0a0a0a0a0a0a0a08
	mov r9, 0x0a0a0a0a0a0a0a09
	mov r10, 0x0a0a0a0a0a0a0a10
	mov r11, 0x0a0a0a0a0a0a0a11
	mov r12, 0x0a0a0a0a0a0a0a12
	mov r13, 0x0a0a0a0a0a0a0a13
	mov r14, 0x0a0a0a0a0a0a0a14
	mov r15, 0x0a0a0a0a0a0a0a15
	call probed
	mov [rip + back + 0], rax
	mov [rip + back + 8], rcx
	mov [rip + back + 16], rdx
	mov [rip + back + 24], rsi
	mov [rip + back + 32], rdi
	mov [rip + back + 40], r8
	mov [rip + back + 48], r9
	mov [rip + back + 56], r10
	mov [rip + back + 64], r11
	mov [rip + back + 72], rbx
	mov [rip + back + 80], rbp
	mov [rip + back + 88], r12
	mov [rip + back + 96], r15
	mov [rip + back + 104], rsp
	movdqu [rip + after], xmm0
	movdqu [rip + after + 16], xmm7
	movdqu [rip + after + 32], xmm15
	pushfq
	pop rax
	test eax, 0x400                 // direction flag
	jne 9f
	fldpi
	fcompp
	fnstsw ax
	and eax, 0x4500
	cmp eax, 0x4000                 // the same value still lay on the x87 stack
	jne 9f
	expect seen+0, 0x0a0a0a0a0a0a0a01
	expect seen+8, 0x0a0a0a0a0a0a0a02
	expect seen+16, 0x0a0a0a0a0a0a0a03
	expect seen+24, 0x0a0a0a0a0a0a0a04
	expect seen+32, 0x0a0a0a0a0a0a0a05
	expect seen+40, 0x0a0a0a0a0a0a0a06
	expect seen+48, 0x0a0a0a0a0a0a0a07
	expect seen+56, 0x0a0a0a0a0a0a0a08
	expect seen+64, 0x0a0a0a0a0a0a0a09
	expect seen+72, 0x0a0a0a0a0a0a0a10
	expect seen+80, 0x0a0a0a0a0a0a0a11
	expect seen+88, 0x0a0a0a0a0a0a0a12
	expect seen+96, 0x0a0a0a0a0a0a0a13
	expect seen+104, 0x0a0a0a0a0a0a0a14
	expect seen+112, 0x0a0a0a0a0a0a0a15
	expect back+0, 0x1111111111111111
	expect back+8, 0x2222222222222222
	expect back+16, 0x3333333333333333
	expect back+24, 0x4444444444444444
	expect back+32, 0x5555555555555555
	expect back+40, 0x6666666666666666
	expect back+48, 0x7777777777777777
	expect back+56, 0x8888888888888888
	expect back+64, 0x9999999999999999
	expect back+72, 0x0a0a0a0a0a0a0a02
	expect back+80, 0x0a0a0a0a0a0a0a07
	expect back+88, 0x0a0a0a0a0a0a0a12
	expect back+96, 0x0a0a0a0a0a0a0a15
	mov rax, [rip + stack]
	cmp [rip + back + 104], rax
	jne 9f
	cld
	lea rsi, [rip + vectors]
	lea rdi, [rip + after]
	mov ecx, 6
	repe cmpsq
	jne 9f
	lea rsi, [rip + vectors]
	lea rdi, [rip + area + 160]     // xmm0 as it arrived
	mov ecx, 2
	repe cmpsq
	jne 9f
	jmp 8f
9:	inc qword ptr [rip + wrong]
8:	add rsp, 8
	pop r15
	pop r14
	pop r13
	pop r12
	pop rbp
	pop rbx
	ret

	.section .rodata
ready:	.asciz "ready"
report:	.asciz "probed %lu\nwrong %lu\ndone\n"
vectors: .quad 0x0102030405060708, 0x1112131415161718, 0x2122232425262728
	.quad 0x3132333435363738, 0x4142434445464748, 0x5152535455565758
	.data
	.balign 16
area:	.zero 512
seen:	.zero 128
back:	.zero 112
after:	.zero 48
stack:	.quad 0
total:	.quad 0
left:	.quad 0
wrong:	.quad 0
	.section .note.GNU-stack,"",@progbits
