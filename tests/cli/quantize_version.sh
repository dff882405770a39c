qlora-quantize --version
