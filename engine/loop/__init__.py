"""Closing the loop: generate, curate, train, evaluate, and again with the tuned model; every stage a fresh process.

Covers: one machine, one stage at a time, resumable at any point (kill -9 too). Does not cover: running stages side by
side or on several machines; each stage itself may use a whole cluster.
"""
