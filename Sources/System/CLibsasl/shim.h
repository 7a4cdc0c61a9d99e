#pragma once
#include <stddef.h>
#include <sasl/sasl.h>
