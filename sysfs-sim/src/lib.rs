//! Writes a host as a sysfs tree, from a machine description or from a recording.
