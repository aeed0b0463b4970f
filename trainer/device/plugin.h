// plugin - devices in shared libraries, so that the programs need neither their headers nor their
// drivers. The file is ../lib/device_NAME.so beside the folder of the running program, its entry
// device_plugin_open (backend.h). A loaded library is never unloaded.
#ifndef PLUGIN_H
#define PLUGIN_H

#include "backend/backend.h"

// Opens the device of plugin options->name. Fails with ERR_DEVICE if there is no such library or it
// cannot be loaded (the text has the loader's reason and what to do), and as the plugin does.
int plugin_open(const struct device_options *options, struct device **ret_device);

#endif
