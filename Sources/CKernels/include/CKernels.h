#pragma once
#include <stddef.h>
#include <stdint.h>

// The hot loops that need run-time CPU dispatch. Each has a scalar Swift twin in Formats that is its test oracle.

#include "blocks.h"
#include "files.h"
#include "hadamard.h"
#include "kquants.h"
#include "network.h"
#include "rounding.h"
#include "weighted.h"
