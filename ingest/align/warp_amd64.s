#include "textflag.h"

DATA one<>+0(SB)/8, $1.0
GLOBL one<>(SB), RODATA|NOPTR, $8
DATA half<>+0(SB)/8, $0.5
GLOBL half<>(SB), RODATA|NOPTR, $8

// Adds to Y13 the pixel at addr, weighted by the scalar in wx, which is wy's low end.
#define ADD_PIXEL(addr, wx, wy) \
	VPMOVZXBD    addr, X14;    \
	VCVTDQ2PD    X14, Y14;     \
	VBROADCASTSD wx, wy;       \
	VMULPD       wy, Y14, Y14; \
	VADDPD       Y14, Y13, Y13

// func warpAVX2(dst *byte, s *span)
TEXT ·warpAVX2(SB), NOSPLIT, $0-16
	MOVQ         dst+0(FP), DI
	MOVQ         s+8(FP), AX
	MOVQ         0(AX), SI             // src
	MOVQ         8(AX), DX             // stride
	MOVQ         16(AX), CX            // n
	VMOVSD       24(AX), X0            // u
	VMOVSD       32(AX), X1            // a
	VMOVSD       40(AX), X2            // b
	VMOVSD       48(AX), X3            // bv
	VMOVSD       56(AX), X4            // av
	VMOVSD       64(AX), X5            // tx
	VMOVSD       72(AX), X6            // ty
	VMOVSD       one<>(SB), X7
	VBROADCASTSD half<>(SB), Y8
	VXORPD       X15, X15, X15

pixel:
	VMULSD X1, X0, X9                  // x = a·u − bv + tx
	VSUBSD X3, X9, X9
	VADDSD X5, X9, X9
	VMULSD X2, X0, X10                 // y = b·u + av + ty
	VADDSD X4, X10, X10
	VADDSD X6, X10, X10
	VADDSD X7, X0, X0                  // the next u

	// Neither is negative, so the integer below is the truncated one.
	VCVTTSD2SIQ X9, R8
	VCVTTSD2SIQ X10, R9
	VCVTSI2SDQ  R8, X15, X11
	VCVTSI2SDQ  R9, X15, X12
	VSUBSD      X11, X9, X9            // wx
	VSUBSD      X12, X10, X10          // wy
	VSUBSD      X9, X7, X11            // 1 − wx
	VSUBSD      X10, X7, X12           // 1 − wy
	IMULQ       DX, R9
	LEAQ        (R8)(R8*2), R8
	ADDQ        SI, R9
	ADDQ        R8, R9                 // the upper left neighbour

	VMULSD       X12, X11, X13         // w00
	VMULSD       X12, X9, X12          // w01
	VMULSD       X10, X11, X11         // w10
	VMULSD       X10, X9, X9           // w11
	VPMOVZXBD    (R9), X14
	VCVTDQ2PD    X14, Y14
	VBROADCASTSD X13, Y13
	VMULPD       Y14, Y13, Y13
	ADD_PIXEL(3(R9), X12, Y12)
	ADD_PIXEL((R9)(DX*1), X11, Y11)
	ADD_PIXEL(3(R9)(DX*1), X9, Y9)

	VADDPD      Y8, Y13, Y13
	VCVTTPD2DQY Y13, X13
	VPACKUSDW   X13, X13, X13
	VPACKUSWB   X13, X13, X13
	VMOVD       X13, (DI)
	ADDQ        $3, DI
	DECQ        CX
	JNZ         pixel

	VZEROUPPER
	RET
