#pragma once
// libevent's own configuration asks for GNU extensions, which would give system types another layout than the
// other modules see. Whichever request comes first counts.
#include <features.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/keyvalq_struct.h>
#include <event2/thread.h>
