"""Mutation fuzzers over everything that the commands read: files of every kind, folders and options."""
