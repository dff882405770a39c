/* The public interface of libqlora in one header. */
#ifndef QLORA_QLORA_H
#define QLORA_QLORA_H

#include "qlora/dataset.h"
#include "qlora/export.h"
#include "qlora/findings.h"
#include "qlora/generate.h"
#include "qlora/model.h"
#include "qlora/quantize.h"
#include "qlora/runtime.h"
#include "qlora/status.h"
#include "qlora/tokenizer.h"
#include "qlora/train.h"
#include "qlora/types.h"
#include "qlora/version.h"

#endif
