//! Each oddity of sysfs on a small machine that the test writes itself.
