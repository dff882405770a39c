#ifndef QLORA_QUANTIZE_H
#define QLORA_QUANTIZE_H

#include "qlora/status.h"

#endif
