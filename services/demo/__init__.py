"""``gongji demo``: a made-up day of claims, settled by the real services on real servers, and audited.

``cli`` sets the stage and clears it away, ``workers`` runs the services, ``day`` makes and sends the feed, ``watch``
tells how it goes, ``summary`` reads from the books what came of it, ``show`` prints that.
"""
