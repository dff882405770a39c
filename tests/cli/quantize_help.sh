qlora-quantize --help
