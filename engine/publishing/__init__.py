"""Publishing: a sealed, curated run (or a trained model) as repositories on the Hugging Face Hub, and back.

What is covered: the supervised rows, private by default, with pictures left out (`hydrate` joins them again) or inside;
the preference pairs in a gated repository of their own; the card; staging, one commit that makes it all visible, and
reading back. Not covered: rejected rows, which are never published; uploads through Xet are the Hub client's own and
are not tested offline (docs/publish.md).
"""
