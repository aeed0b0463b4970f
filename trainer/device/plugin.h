// plugin - devices that are libraries of their own, so that the programs need neither their headers
// nor their drivers: ../lib/device_NAME.so beside the folder of the running program, with the entry
// device_plugin_open (backend.h). A library that has been loaded stays.
#ifndef PLUGIN_H
#define PLUGIN_H

#include "backend/backend.h"

// Opens the device of plugin options->name. Fails with ERR_DEVICE: there is no such library, it
// cannot be loaded (the text has the loader's reason and what to do), or what the plugin says.
int plugin_open(const struct device_options *options, struct device **ret_device);

#endif
