qlora-quantize --quant-typ nf4 a b
