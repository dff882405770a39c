#ifndef QLORA_GENERATE_H
#define QLORA_GENERATE_H

#include "qlora/status.h"

#endif
