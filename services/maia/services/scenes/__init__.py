"""The scene world: drawings of coloured, textured shapes, described, drawn, edited and found again.

Everything here is a pure function on values; it needs NumPy, Pillow and SciPy, and imports nothing else of `maia`.

    scene      the values: Scene, Thing, Background, and their JSON form
    palette    which RGB values the colour names stand for
    shapes     the outlines
    render     Scene → picture
    png        a picture file that carries its scene
    lexicon    the words that prompts, edits and labels may use
    grammar    prompt → Specification (what is asked for) and warnings
    layout     where things may stand
    compose    Specification and seed → Scene
    edit       Scene and instruction → Scene
    segment    picture → what is on it, from pixels alone
    concepts   "red circle", "striped": which pixels satisfy it
    labels     "circle or star", "at least two circles": what a picture must show, and the canonical form of a label
    standing   how things that were found stand to each other
    describe   what is seen, in words
    dataset    the fixed scene set
"""
