#ifndef QLORA_TRAIN_H
#define QLORA_TRAIN_H

#include "qlora/status.h"

#endif
