#!/bin/sh
# Makes the corpus anew from these sources: nvcc 13.0 and clang 14 made what is kept beside this folder.
# Debug files name the folder they were made in, so it is always the same one.
set -eu
to=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p /usr/src/kernels && cp "$to"/source/*.c[ul] /usr/src/kernels && cd /usr/src/kernels
ptx() { out=$1; shift; nvcc -ptx "$@" -o "$to/$out.ptx"; }
fatbin() { out=$1; shift; nvcc -fatbin "$@" -o "$to/$out.fatbin"; }

ptx samples -arch=compute_75 -lineinfo samples.cu
ptx samples-G -arch=compute_90 -G samples.cu
ptx matmul -arch=compute_75 matmul.cu
ptx matmul-lineinfo -arch=compute_80 -lineinfo matmul.cu
ptx flow -arch=compute_75 flow.cu
ptx flow-G -arch=compute_75 -G flow.cu
ptx lanes -arch=compute_75 lanes.cu
ptx lanes-90 -arch=compute_90 -lineinfo lanes.cu
ptx ampere -arch=compute_80 ampere.cu
ptx hopper -arch=compute_90 hopper.cu
clang -x cl --target=nvptx64-nvidia-cuda -Xclang -target-cpu -Xclang sm_70 -Xclang -target-feature \
	-Xclang +ptx70 -O2 -S llvm.cl -o "$to/llvm.ptx"

both='-gencode arch=compute_75,code=compute_75 -gencode arch=compute_90,code=sm_90'
for mode in none size speed; do
	fatbin samples-$mode $both -Xfatbin=-compress-mode=$mode samples.cu
done
fatbin samples-special -gencode arch=compute_90a,code=compute_90a -gencode arch=compute_100f,code=compute_100f \
	-gencode arch=compute_75,code=compute_75 -gencode arch=compute_120,code=sm_120 \
	-maxrregcount=64 -Xptxas -O1,-dlcm=cg -lineinfo samples.cu
fatbin samples-rdc -rdc=true -gencode arch=compute_75,code=compute_75 samples.cu
fatbin samples-lto -gencode arch=compute_90,code=lto_90 samples.cu
nvcc -cubin -arch=sm_90 samples.cu -o "$to/samples-sm_90.cubin"

nvcc -rdc=true $both -fatbin parts.cu -o one.fatbin
nvcc -rdc=true $both -fatbin parts2.cu -o two.fatbin
nvcc -dlink -fatbin -gencode arch=compute_90,code=sm_90 one.fatbin two.fatbin -o whole.fatbin
cat whole.fatbin one.fatbin two.fatbin > "$to/parts.fatbin"
