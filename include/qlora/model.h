#ifndef QLORA_MODEL_H
#define QLORA_MODEL_H

#include "qlora/status.h"

#endif
