//! A mock QEMU: a QMP server with scripted faults, and threads fake or real.
