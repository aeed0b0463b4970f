// ctl - what needs ZeroMQ, SQLite or the configuration, on behalf of the script `pipeline`.
//
// One function a command. Each gets the options of the command line, prints its result on stdout
// and returns ERR_OK or an error that main prints.
#ifndef CTL_H
#define CTL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "config/config.h"

struct ctl_options {
    const char *conf;    // --conf; NULL: none
    const char *presets; // --presets
    const char *runs;    // --runs: the folder of all runs
    const char *run;     // --run: the folder of one run
    const char **sets;   // --set, n_sets of them
    int n_sets;
    const char *out;  // --out; NULL: stdout
    const char *fork; // --fork; NULL: none
    const char *from; // --from: a step or "best"; NULL: newest
    bool fresh, json, csv, name_only, ready, quick;
    const char **words; // the rest
    int n_words;
};

int ctl_resolve(const struct ctl_options *o); // prepares a run; prints what `pipeline` starts
int ctl_check(const struct ctl_options *o);
int ctl_status(const struct ctl_options *o); // ERR_NOT_RUNNING if nothing is up
int ctl_line(const struct ctl_options *o);
int ctl_step(const struct ctl_options *o);
int ctl_query(const struct ctl_options *o);
int ctl_runs(const struct ctl_options *o);
int ctl_warnings(const struct ctl_options *o); // events after one, of level warn and error
int ctl_remove(const struct ctl_options *o);   // folder and rows of a run that is not up
int ctl_note(const struct ctl_options *o);
int ctl_import_options(const struct ctl_options *o);
int ctl_options_markdown(const struct ctl_options *o);

// ---- run_folder.c ----

// Where the run continues or begins.
enum run_state {
    RUN_READY,    // to be started
    RUN_FINISHED, // nothing is left to do
};

// Makes runs/NAME/ ready for `c` (changes its name for --fork, fills in device, dtype and threads)
// and writes pipeline.conf there. ERR_MISMATCH lists what differs from the run that is there.
int run_prepare(struct config *c, const struct ctl_options *o, enum run_state *ret_state);

// ---- device.c ----

// Puts what device and dtype stand for on this machine into the settings; says on stderr, and in a
// file of the run's folder `dir` (base/program_path.h), why "auto" is the CPU. ERR_DEVICE if the
// device does not work.
int device_settle(struct config_trainer *t, const char *dir);

// Lets the trainer make its model and take its memory with these settings. ERR_CONFIG has its
// reason.
int trainer_check(const struct config *c);

// ---- look.c ----

// Reads headers of images where their sizes decide whether these settings can train on them.
// ERR_DATA names two images.
int look_at_images(const struct config *c);

// ---- disk.c ----

// Parameters with instance norm, where every convolution has a bias; other norms differ by less
// than a thousandth.
int64_t net_generator_parameters(const struct config_trainer *t, int in, int out);
int64_t net_discriminator_parameters(const struct config_trainer *t, int in);

// Says on stderr what the run will take and what is free. ERR_SPACE if it is too little.
// run_dir may hold something already: that counts as taken.
int disk_check(const struct config *c, const char *run_dir);

// ---- rows.c ----

struct sqlite3_stmt;

// Steps the statement and prints its rows as JSON, CSV or a table; of a table the last `max` rows,
// all if that is 0, and says so on stderr. Returns SQLite's last code, SQLITE_DONE if all is well.
int rows_print(struct sqlite3_stmt *s, const struct ctl_options *o, int max);

// ---- query.c ----

// Takes the run of this name out of the way: it is called `to` from now on. No database: nothing.
int database_rename_run(const char *runs, const char *from, const char *to);

#endif
