#include "textflag.h"

// Where the bytes of a channel of eight pixels are: in the first sixteen bytes, and in the
// sixteen from the ninth on. Bytes with the high bit set give zero.
DATA red0<>+0(SB)/8, $0x80800f0c09060300
DATA red0<>+8(SB)/8, $0x8080808080808080
GLOBL red0<>(SB), RODATA|NOPTR, $16
DATA red1<>+0(SB)/8, $0x0d0a808080808080
DATA red1<>+8(SB)/8, $0x8080808080808080
GLOBL red1<>(SB), RODATA|NOPTR, $16
DATA green0<>+0(SB)/8, $0x8080800d0a070401
DATA green0<>+8(SB)/8, $0x8080808080808080
GLOBL green0<>(SB), RODATA|NOPTR, $16
DATA green1<>+0(SB)/8, $0x0e0b088080808080
DATA green1<>+8(SB)/8, $0x8080808080808080
GLOBL green1<>(SB), RODATA|NOPTR, $16
DATA blue0<>+0(SB)/8, $0x8080800e0b080502
DATA blue0<>+8(SB)/8, $0x8080808080808080
GLOBL blue0<>(SB), RODATA|NOPTR, $16
DATA blue1<>+0(SB)/8, $0x0f0c098080808080
DATA blue1<>+8(SB)/8, $0x8080808080808080
GLOBL blue1<>(SB), RODATA|NOPTR, $16

// Writes a channel of the pixels in X0 and X1.
#define CHANNEL(first, second, mean, std, dst) \
	VPSHUFB   first<>(SB), X0, X2;  \
	VPSHUFB   second<>(SB), X1, X3; \
	VPOR      X2, X3, X2;           \
	VPMOVZXBD X2, Y2;               \
	VCVTDQ2PS Y2, Y2;               \
	VSUBPS    mean, Y2, Y2;         \
	VDIVPS    std, Y2, Y2;          \
	VPERMPS   Y2, Y15, Y2;          \
	VMOVUPS   Y2, (dst);            \
	ADDQ      $32, dst

// func fillAVX2(p *pixels8)
TEXT ·fillAVX2(SB), NOSPLIT, $0-8
	MOVQ         p+0(FP), AX
	MOVQ         0(AX), SI
	MOVQ         8(AX), DI
	MOVQ         16(AX), R8
	MOVQ         24(AX), R9
	MOVQ         32(AX), CX
	MOVQ         40(AX), DX
	VMOVDQU      48(AX), Y15
	VBROADCASTSS 80(AX), Y4
	VBROADCASTSS 84(AX), Y5
	VBROADCASTSS 88(AX), Y6
	VBROADCASTSS 92(AX), Y7
	VBROADCASTSS 96(AX), Y8
	VBROADCASTSS 100(AX), Y9

eight:
	VMOVDQU (SI), X0
	VMOVDQU 8(SI), X1
	CHANNEL(red0, red1, Y4, Y7, DI)
	CHANNEL(green0, green1, Y5, Y8, R8)
	CHANNEL(blue0, blue1, Y6, Y9, R9)
	ADDQ    DX, SI
	SUBQ    $8, CX
	JNZ     eight

	VZEROUPPER
	RET
